/*
 * shared_object.cu - reference-counted objects that ranks of one process
 * share.
 *
 * One rank publishes an object and sends its id to the other ranks, which get
 * the object by id.  The publishing rank cannot know whether all ranks
 * received the id.  Therefore getting a destroyed object returns NULL, and an
 * object that no rank got is destroyed with its publisher's reference.
 */
#include "gpu_comm.h"

#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static tlpi_shared_object *objects; /* all objects with references */
static uint64_t last_id;

void tlpi_shared_object_publish(tlpi_shared_object *object,
                                void (*destroy)(tlpi_shared_object *object))
{
    pthread_mutex_lock(&lock);
    object->id = ++last_id;
    object->refs = 1;
    object->destroy = destroy;
    object->next = objects;
    objects = object;
    pthread_mutex_unlock(&lock);
}

tlpi_shared_object *tlpi_shared_object_get(uint64_t id)
{
    pthread_mutex_lock(&lock);
    tlpi_shared_object *object = objects;
    while (object && object->id != id)
        object = object->next;
    if (object)
        object->refs++;
    pthread_mutex_unlock(&lock);
    return object;
}

void tlpi_shared_object_put(tlpi_shared_object *object)
{
    if (!object)
        return;
    pthread_mutex_lock(&lock);
    bool last = --object->refs == 0;
    tlpi_shared_object **link = &objects;
    while (last && *link != object)
        link = &(*link)->next;
    if (last)
        *link = object->next;
    pthread_mutex_unlock(&lock);
    if (last)
        object->destroy(object);
}
