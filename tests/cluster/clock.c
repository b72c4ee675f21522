/*
 * Gives a host's programs a wall clock of their own, CLOCK_AHEAD seconds ahead of the machine's: LD_PRELOAD.
 *
 * What measures (CLOCK_MONOTONIC) stays as it is. Deadlines on the wall clock that a program hands to the C
 * library are turned back; of those that don't say which clock they are of, 30 years tell one from the other.
 * The times of files are the machine's.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = dlsym(RTLD_NEXT, #name)

static const time_t YEARS = 30L * 365 * 86400;

static time_t ahead(void)
{
    static time_t seconds;
    static int known;
    if (!known) {
        const char *text = getenv("CLOCK_AHEAD");
        seconds = text ? atol(text) : 0;
        known = 1;
    }
    return seconds;
}

static int is_wall(clockid_t clock) { return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE; }

static struct timespec turned_back(const struct timespec *until)
{
    struct timespec at = *until;
    if (at.tv_sec > YEARS) at.tv_sec -= ahead();
    return at;
}

int clock_gettime(clockid_t clock, struct timespec *at)
{
    REAL(int, clock_gettime, clockid_t, struct timespec *);
    int failed = real(clock, at);
    if (!failed && is_wall(clock)) at->tv_sec += ahead();
    return failed;
}

int gettimeofday(struct timeval *at, void *zone)
{
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at)
{
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}

int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until)
{
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    struct timespec at = turned_back(until);
    if (!real) real = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    return real(cond, mutex, &at);
}

int pthread_cond_clockwait(
    pthread_cond_t *cond, pthread_mutex_t *mutex, clockid_t clock, const struct timespec *until)
{
    REAL(int, pthread_cond_clockwait, pthread_cond_t *, pthread_mutex_t *, clockid_t, const struct timespec *);
    struct timespec at = turned_back(until);
    return real(cond, mutex, clock, &at);
}

int pthread_mutex_timedlock(pthread_mutex_t *mutex, const struct timespec *until)
{
    REAL(int, pthread_mutex_timedlock, pthread_mutex_t *, const struct timespec *);
    struct timespec at = turned_back(until);
    return real(mutex, &at);
}

int sem_timedwait(sem_t *sem, const struct timespec *until)
{
    REAL(int, sem_timedwait, sem_t *, const struct timespec *);
    struct timespec at = turned_back(until);
    return real(sem, &at);
}

int sem_clockwait(sem_t *sem, clockid_t clock, const struct timespec *until)
{
    REAL(int, sem_clockwait, sem_t *, clockid_t, const struct timespec *);
    struct timespec at = turned_back(until);
    return real(sem, clock, &at);
}

long syscall(long number, ...)
{
    REAL(long, syscall, long, ...);
    struct timespec at;
    long word[6];
    va_list more;
    va_start(more, number);
    for (int each = 0; each < 6; each++) word[each] = va_arg(more, long);
    va_end(more);
    if (number == SYS_futex && (word[1] & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET && word[3]) {
        at = turned_back((const struct timespec *)word[3]);
        word[3] = (long)&at;
    }
    return real(number, word[0], word[1], word[2], word[3], word[4], word[5]);
}
