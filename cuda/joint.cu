/*
 * joint.cu - objects that ranks of one process hold together.
 *
 * One rank makes an object and tells the others its number.  Whoever hears of
 * it takes it by that; whether all did, nobody can know when telling fails, so
 * an object that is gone is not found, and one that nobody took goes with its
 * maker.
 */
#include "gpu_comm.h"

#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static tlpi_joint *joints; /* that somebody holds */
static uint64_t last_id;

void tlpi_joint_offer(tlpi_joint *j, void (*destroy)(tlpi_joint *j))
{
    pthread_mutex_lock(&lock);
    j->id = ++last_id;
    j->refs = 1;
    j->destroy = destroy;
    j->next = joints;
    joints = j;
    pthread_mutex_unlock(&lock);
}

tlpi_joint *tlpi_joint_take(uint64_t id)
{
    pthread_mutex_lock(&lock);
    tlpi_joint *j = joints;
    while (j && j->id != id)
        j = j->next;
    if (j)
        j->refs++;
    pthread_mutex_unlock(&lock);
    return j;
}

void tlpi_joint_put(tlpi_joint *j)
{
    if (!j)
        return;
    pthread_mutex_lock(&lock);
    bool last = --j->refs == 0;
    tlpi_joint **link = &joints;
    while (last && *link != j)
        link = &(*link)->next;
    if (last)
        *link = j->next;
    pthread_mutex_unlock(&lock);
    if (last)
        j->destroy(j);
}
