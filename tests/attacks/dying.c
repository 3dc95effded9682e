/* Dies at its n-th change of a file. Preloaded by tests/attacks/mortal.py, which forks a child for every n.

   Only what changes files counts, not what goes to sockets and pipes. What is appended is torn in its middle. What is
   written in place is there or not: DuckDB rewrites blocks of its catalog where they stand, and reads none of which only
   a half is new (docs/home.md). */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static long seen, last;

void dying_at(long n) { seen = 0, last = n; }
long dying_seen(void) { return seen; }

static int now(void) { return __atomic_add_fetch(&seen, 1, __ATOMIC_SEQ_CST) == last; }
static void die(void) { for (;;) kill(getpid(), SIGKILL); }

static int is_file(int fd) {
    struct stat found;
    return fstat(fd, &found) == 0 && S_ISREG(found.st_mode);
}

ssize_t write(int fd, const void *bytes, size_t n) {
    if (is_file(fd) && now()) { REAL(write)(fd, bytes, n / 2); die(); }
    return REAL(write)(fd, bytes, n);
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t at) {
    if (is_file(fd) && now()) die();
    return REAL(pwrite64)(fd, bytes, n, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at) { return pwrite64(fd, bytes, n, at); }

int fsync(int fd) { if (now()) die(); return REAL(fsync)(fd); }
int fdatasync(int fd) { if (now()) die(); return REAL(fdatasync)(fd); }
int ftruncate64(int fd, off64_t n) { if (now()) die(); return REAL(ftruncate64)(fd, n); }
int ftruncate(int fd, off_t n) { return ftruncate64(fd, n); }
int unlink(const char *path) { if (now()) die(); return REAL(unlink)(path); }
int mkdir(const char *path, mode_t mode) { if (now()) die(); return REAL(mkdir)(path, mode); }

int rename(const char *from, const char *to) {
    if (now()) die();
    return REAL(rename)(from, to);
}
