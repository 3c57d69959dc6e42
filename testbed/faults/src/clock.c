/* A wall clock that is wrong, for LD_PRELOAD: ahead by the seconds that the file WEIR_CLOCK says, read again ten times a second. Clocks
   that only measure stay right. libfaketime cannot be used: it allocates before jemalloc is ready, and neither goes on. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static struct timespec actual(clockid_t clock) {
  struct timespec now = {0, 0};
  syscall(SYS_clock_gettime, clock, &now);
  return now;
}

static long ahead(void) {
  static atomic_long seconds, read_at = -1;
  struct timespec now = actual(CLOCK_MONOTONIC);
  long tenth = now.tv_sec * 10 + now.tv_nsec / 100000000;
  char *file = getenv("WEIR_CLOCK");
  if (file && atomic_exchange(&read_at, tenth) != tenth) {
    char text[24] = {0};
    int opened = open(file, O_RDONLY | O_CLOEXEC);
    if (opened >= 0) {
      if (read(opened, text, sizeof text - 1) > 0) atomic_store(&seconds, atol(text));
      close(opened);
    }
  }
  return atomic_load(&seconds);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int result = (int)syscall(SYS_clock_gettime, clock, now);
  if (!result && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += ahead();
  return result;
}

int timespec_get(struct timespec *now, int base) { return clock_gettime(CLOCK_REALTIME, now) ? 0 : base; }

int gettimeofday(struct timeval *now, void *zone) {
  (void)zone;
  struct timespec time;
  clock_gettime(CLOCK_REALTIME, &time);
  now->tv_sec = time.tv_sec;
  now->tv_usec = time.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *seconds) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (seconds) *seconds = now.tv_sec;
  return now.tv_sec;
}

/* As with the kernel's clock, a wait until a time is longer by as much as the clock is set back meanwhile. */
int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until) {
  static int (*_Atomic wait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
  if (!wait) wait = (int (*)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *))dlsym(RTLD_NEXT, "pthread_cond_timedwait");
  long before;
  int result;
  do {
    before = ahead();
    struct timespec real = {until->tv_sec - before, until->tv_nsec};
    result = wait(condition, mutex, &real);
  } while (result == ETIMEDOUT && ahead() < before);
  return result;
}

/* What librdkafka calls; glibc's own would not come by here. Both types are POSIX's there. */
int cnd_timedwait(cnd_t *condition, mtx_t *mutex, const struct timespec *until) {
  switch (pthread_cond_timedwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex, until)) {
    case 0: return thrd_success;
    case ETIMEDOUT: return thrd_timedout;
    default: return thrd_error;
  }
}
