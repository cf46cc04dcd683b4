/*
 * shared_object.cu - objects that ranks of one process hold together.
 *
 * One rank makes an object and tells the others its number.  Whoever hears of
 * it takes it by that; whether all did, nobody can know when telling fails, so
 * an object that is gone is not found, and one that nobody took goes with its
 * maker.
 */
#include "gpu_comm.h"

#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static tlpi_shared_object *objects; /* that somebody holds */
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
