/* Make chosen file system calls fail, and log what reaches the disk. Loaded by LD_PRELOAD; disk_shim.py is its other half.

   Environment: NEUROONE_SHIM_ROOT is the watched directory, nothing outside of it is touched. NEUROONE_SHIM_RULES is a
   file of rules, read again when it was replaced. NEUROONE_SHIM_LOG gets a line for each change, and
   NEUROONE_SHIM_GRAVES keeps a link to each file that a rename or an unlink removes.

   A rule is one line: CALL, errno, how often (-1: always), MODE and a pattern for paths under the root, split by tabs.
   CALL is one of open, create (open for writing), read, write, sync, truncate, rename, unlink, mkdir. MODE is one of
     -        fail
     drop     fail a sync, and turn what was not synced into zeros, as if the page cache had been read anew
     room=N   let N more bytes through, a write that does not fit in part
     delay=N  do not fail, but wait N milliseconds first
*/
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define RULES_MAX 64
#define RANGES_MAX 8192
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

struct rule {
    char call[16], mode[16], pattern[512];
    int error, left, argument;
};
struct range {
    ino_t inode;
    off_t start, end;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct rule rules[RULES_MAX];
static int rule_count;
static struct timespec rules_time;
static ino_t rules_inode;
static struct range ranges[RANGES_MAX];
static int range_count, log_handle = -1;
static unsigned long sync_number;
static char root[PATH_MAX];
static const char *rules_file, *graves;

__attribute__((constructor)) static void begin(void) {
    const char *given = getenv("NEUROONE_SHIM_ROOT"), *log = getenv("NEUROONE_SHIM_LOG");
    if (given) snprintf(root, sizeof root, "%s", given);
    rules_file = getenv("NEUROONE_SHIM_RULES");
    graves = getenv("NEUROONE_SHIM_GRAVES");
    sync_number = (unsigned long)getpid() * 100000000UL;
    if (log) log_handle = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
}

/* The path under the root, "." for the root itself; NULL for one that is not watched. */
static const char *inside(const char *path) {
    size_t length = strlen(root);
    if (!length || strncmp(path, root, length)) return NULL;
    return path[length] == '/' ? path + length + 1 : path[length] ? NULL : ".";
}

static const char *absolute(int folder, const char *path, char *buffer) {
    char link[64];
    ssize_t length = 0;
    if (!path) return NULL;
    if (path[0] == '/') return inside(path);
    if (folder == AT_FDCWD) {
        if (!getcwd(buffer, PATH_MAX)) return NULL;
        length = (ssize_t)strlen(buffer);
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        if ((length = readlink(link, buffer, PATH_MAX - 1)) < 0) return NULL;
    }
    snprintf(buffer + length, (size_t)(PATH_MAX - length), "/%s", path);
    return inside(buffer);
}

static const char *path_of(int handle, char *buffer) {
    char link[64];
    if (!root[0]) return NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
    ssize_t length = readlink(link, buffer, PATH_MAX - 1);
    if (length < 0) return NULL;
    buffer[length] = 0;
    return inside(buffer);
}

static void note(const char *format, ...) {
    char line[2 * PATH_MAX + 64];
    va_list values;
    if (log_handle < 0) return;
    va_start(values, format);
    int length = vsnprintf(line, sizeof line, format, values);
    va_end(values);
    syscall(SYS_write, log_handle, line, (size_t)length);
}

static void read_rules(void) {
    struct stat now;
    static char text[65536];
    if (!rules_file || syscall(SYS_newfstatat, AT_FDCWD, rules_file, &now, 0)) return;
    if (now.st_ino == rules_inode && !memcmp(&now.st_mtim, &rules_time, sizeof rules_time)) return;
    rules_inode = now.st_ino;
    rules_time = now.st_mtim;
    int handle = (int)syscall(SYS_openat, AT_FDCWD, rules_file, O_RDONLY | O_CLOEXEC, 0);
    ssize_t length = handle < 0 ? 0 : syscall(SYS_read, handle, text, sizeof text - 1);
    if (handle >= 0) syscall(SYS_close, handle);
    text[length > 0 ? length : 0] = 0;
    rule_count = 0;
    char *rest = text, *line;
    while ((line = strsep(&rest, "\n")) && rule_count < RULES_MAX) {
        struct rule *rule = &rules[rule_count];
        char mode[32];
        memset(rule, 0, sizeof *rule);
        if (sscanf(line, "%15[^\t]\t%d\t%d\t%31[^\t]\t%511[^\n]", rule->call, &rule->error, &rule->left, mode,
                   rule->pattern) != 5)
            continue;
        char *value = strchr(mode, '=');
        rule->argument = value ? atoi(value + 1) : 0;
        if (value) *value = 0;
        strncpy(rule->mode, mode, sizeof rule->mode - 1);
        rule_count++;
    }
}

/* The rule that this call meets, used once more; NULL for none. Waits where a rule says so. */
static struct rule *met(const char *call, const char *path) {
    if (!path) return NULL;
    pthread_mutex_lock(&lock);
    read_rules();
    struct rule *found = NULL;
    int delay_ms = 0;
    for (int each = 0; each < rule_count && !found; each++) {
        struct rule *rule = &rules[each];
        if (!rule->left || strcmp(rule->call, call) || fnmatch(rule->pattern, path, 0)) continue;
        if (!strcmp(rule->mode, "delay")) {
            delay_ms += rule->argument;
            continue;
        }
        if (rule->left > 0) rule->left--;
        found = rule;
    }
    pthread_mutex_unlock(&lock);
    if (delay_ms) usleep((useconds_t)delay_ms * 1000);
    return found;
}

static int fails(const char *call, const char *path) {
    struct rule *rule = met(call, path);
    if (rule) errno = rule->error;
    return rule != NULL;
}

static void touched(ino_t inode, off_t start, off_t end) {
    pthread_mutex_lock(&lock);
    int each = range_count - 1;
    while (each >= 0 && !(ranges[each].inode == inode && ranges[each].end == start)) each--;
    if (each >= 0)
        ranges[each].end = end;
    else if (range_count < RANGES_MAX)
        ranges[range_count++] = (struct range){inode, start, end};
    pthread_mutex_unlock(&lock);
}

/* Forget what was written to a file since its last sync; with a handle turn it into zeros. */
static void settle(ino_t inode, int handle, off_t size) {
    static const char zeros[65536];
    pthread_mutex_lock(&lock);
    for (int each = range_count - 1; each >= 0; each--) {
        struct range range = ranges[each];
        if (range.inode != inode) continue;
        ranges[each] = ranges[--range_count];
        if (range.end > size) range.end = size;
        for (off_t at = range.start; handle >= 0 && at < range.end;) {
            size_t part = (size_t)(range.end - at) < sizeof zeros ? (size_t)(range.end - at) : sizeof zeros;
            if (syscall(SYS_pwrite64, handle, zeros, part, at) <= 0) break;
            at += (off_t)part;
        }
    }
    pthread_mutex_unlock(&lock);
}

/* --- opening --------------------------------------------------------------------------------- */

static int open_at(int folder, const char *path, int flags, mode_t mode) {
    char buffer[PATH_MAX];
    const char *watched = root[0] ? absolute(folder, path, buffer) : NULL;
    if (!watched) return (int)syscall(SYS_openat, folder, path, flags, mode);
    int writes = (flags & (O_WRONLY | O_RDWR | O_CREAT)) != 0;
    if (fails("open", watched) || (writes && fails("create", watched))) return -1;
    struct stat before;
    int is_new = (flags & O_CREAT) && syscall(SYS_newfstatat, folder, path, &before, 0);
    if ((flags & O_TRUNC) && !is_new && !syscall(SYS_newfstatat, folder, path, &before, 0))
        note("T\t%lu\t0\t%ld\t%s\n", before.st_ino, before.st_size, watched);
    int handle = (int)syscall(SYS_openat, folder, path, flags, mode);
    if (handle >= 0 && is_new && !fstat(handle, &before)) note("N\t%lu\t%s\n", before.st_ino, watched);
    return handle;
}

#define MODE_OF(flags, mode)                       \
    mode_t mode = 0;                               \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {       \
        va_list values;                            \
        va_start(values, flags);                   \
        mode = (mode_t)va_arg(values, unsigned);   \
        va_end(values);                            \
    }

int open(const char *path, int flags, ...) {
    MODE_OF(flags, mode)
    return open_at(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    MODE_OF(flags, mode)
    return open_at(AT_FDCWD, path, flags, mode);
}
int openat(int folder, const char *path, int flags, ...) {
    MODE_OF(flags, mode)
    return open_at(folder, path, flags, mode);
}
int openat64(int folder, const char *path, int flags, ...) {
    MODE_OF(flags, mode)
    return open_at(folder, path, flags, mode);
}
int creat(const char *path, mode_t mode) { return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

DIR *opendir(const char *path) {
    char buffer[PATH_MAX];
    if (root[0] && fails("open", absolute(AT_FDCWD, path, buffer))) return NULL;
    return REAL(opendir)(path);
}

/* --- reading --------------------------------------------------------------------------------- */

static int reading_fails(int handle) {
    char buffer[PATH_MAX];
    return root[0] && fails("read", path_of(handle, buffer));
}
ssize_t read(int handle, void *bytes, size_t size) {
    return reading_fails(handle) ? -1 : REAL(read)(handle, bytes, size);
}
ssize_t pread(int handle, void *bytes, size_t size, off_t at) {
    return reading_fails(handle) ? -1 : REAL(pread)(handle, bytes, size, at);
}
ssize_t pread64(int handle, void *bytes, size_t size, off64_t at) { return pread(handle, bytes, size, at); }
ssize_t readv(int handle, const struct iovec *parts, int count) {
    return reading_fails(handle) ? -1 : REAL(readv)(handle, parts, count);
}

/* --- writing --------------------------------------------------------------------------------- */

/* How much of a write goes through; -1 for none, with errno. ``at`` is -1 where the handle knows. */
static ssize_t allowed(int handle, size_t size, off_t at) {
    char buffer[PATH_MAX];
    const char *path = root[0] ? path_of(handle, buffer) : NULL;
    struct stat now;
    if (!path || !size) return (ssize_t)size;
    struct rule *rule = met("write", path);
    if (rule && strcmp(rule->mode, "room")) {
        errno = rule->error;
        return -1;
    }
    if (rule) {
        if (rule->argument <= 0) {
            errno = rule->error;
            return -1;
        }
        if ((size_t)rule->argument < size) size = (size_t)rule->argument;
        rule->argument -= (int)size;
    }
    if (!fstat(handle, &now)) {
        if (at < 0) at = fcntl(handle, F_GETFL) & O_APPEND ? now.st_size : lseek(handle, 0, SEEK_CUR);
        touched(now.st_ino, at, at + (off_t)size);
        note("W\t%lu\t%ld\t%zu\t%s\n", now.st_ino, at, size, path);
    }
    return (ssize_t)size;
}
ssize_t write(int handle, const void *bytes, size_t size) {
    ssize_t most = allowed(handle, size, -1);
    return most < 0 ? -1 : REAL(write)(handle, bytes, (size_t)most);
}
ssize_t pwrite(int handle, const void *bytes, size_t size, off_t at) {
    ssize_t most = allowed(handle, size, at);
    return most < 0 ? -1 : REAL(pwrite)(handle, bytes, (size_t)most, at);
}
ssize_t pwrite64(int handle, const void *bytes, size_t size, off64_t at) { return pwrite(handle, bytes, size, at); }
ssize_t writev(int handle, const struct iovec *parts, int count) {
    size_t size = 0;
    for (int each = 0; each < count; each++) size += parts[each].iov_len;
    ssize_t most = allowed(handle, size, -1);
    if (most < 0) return -1;
    if ((size_t)most < size) {
        size = (size_t)most < parts[0].iov_len ? (size_t)most : parts[0].iov_len;
        return REAL(write)(handle, parts[0].iov_base, size);
    }
    return REAL(writev)(handle, parts, count);
}

int ftruncate(int handle, off_t size) {
    char buffer[PATH_MAX];
    const char *path = root[0] ? path_of(handle, buffer) : NULL;
    struct stat now;
    if (fails("truncate", path)) return -1;
    if (path && !fstat(handle, &now)) note("T\t%lu\t%ld\t%ld\t%s\n", now.st_ino, size, now.st_size, path);
    return (int)syscall(SYS_ftruncate, handle, size);
}
int ftruncate64(int handle, off64_t size) { return ftruncate(handle, size); }

/* --- syncing --------------------------------------------------------------------------------- */

static int sync_by(long call, int handle) {
    char buffer[PATH_MAX];
    const char *path = root[0] ? path_of(handle, buffer) : NULL;
    struct stat now;
    if (!path || fstat(handle, &now)) return (int)syscall(call, handle);
    pthread_mutex_lock(&lock);
    unsigned long number = ++sync_number;
    pthread_mutex_unlock(&lock);
    note("B\t%lu\t%lu\t%ld\t%s\n", number, now.st_ino, S_ISDIR(now.st_mode) ? -1L : (long)now.st_size, path);
    struct rule *rule = met("sync", path);
    if (rule) {
        int again = -1;
        if (!strcmp(rule->mode, "drop") && !S_ISDIR(now.st_mode))
            again = (int)syscall(SYS_openat, AT_FDCWD, buffer, O_WRONLY | O_CLOEXEC, 0);
        settle(now.st_ino, again, now.st_size);
        if (again >= 0) syscall(SYS_close, again);
        note("F\t%lu\n", number);
        errno = rule->error;
        return -1;
    }
    int result = (int)syscall(call, handle);
    if (!result) {
        settle(now.st_ino, -1, 0);
        note("E\t%lu\n", number);
    }
    return result;
}
int fsync(int handle) { return sync_by(SYS_fsync, handle); }
int fdatasync(int handle) { return sync_by(SYS_fdatasync, handle); }

/* --- names ----------------------------------------------------------------------------------- */

static unsigned long bury(const char *path) {
    struct stat now;
    char grave[PATH_MAX];
    if (syscall(SYS_newfstatat, AT_FDCWD, path, &now, 0)) return 0;
    if (graves) {
        snprintf(grave, sizeof grave, "%s/%lu", graves, now.st_ino);
        syscall(SYS_linkat, AT_FDCWD, path, AT_FDCWD, grave, 0);
    }
    return now.st_ino;
}

int rename(const char *from, const char *to) {
    char one[PATH_MAX], two[PATH_MAX];
    const char *source = root[0] ? absolute(AT_FDCWD, from, one) : NULL;
    const char *target = root[0] ? absolute(AT_FDCWD, to, two) : NULL;
    if (fails("rename", source) || fails("rename", target)) return -1;
    struct stat now;
    unsigned long moved = source && !syscall(SYS_newfstatat, AT_FDCWD, from, &now, 0) ? now.st_ino : 0;
    unsigned long old = target ? bury(to) : 0;
    int result = REAL(rename)(from, to);
    if (!result && source && target) note("R\t%lu\t%lu\t%s\t%s\n", moved, old, source, target);
    return result;
}
int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    return from_folder == AT_FDCWD && to_folder == AT_FDCWD ? rename(from, to)
                                                            : REAL(renameat)(from_folder, from, to_folder, to);
}

int unlink(const char *path) {
    char buffer[PATH_MAX];
    const char *watched = root[0] ? absolute(AT_FDCWD, path, buffer) : NULL;
    if (fails("unlink", watched)) return -1;
    unsigned long old = watched ? bury(path) : 0;
    int result = REAL(unlink)(path);
    if (!result && watched) note("U\t%lu\t%s\n", old, watched);
    return result;
}

int mkdir(const char *path, mode_t mode) {
    char buffer[PATH_MAX];
    const char *watched = root[0] ? absolute(AT_FDCWD, path, buffer) : NULL;
    if (fails("mkdir", watched)) return -1;
    int result = REAL(mkdir)(path, mode);
    if (!result && watched) note("M\t%s\n", watched);
    return result;
}
