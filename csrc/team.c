// Threads that compute something together, and meet between its parts. OpenMP's own barrier calls the system each time,
// to wake whoever may sleep there; a step of a small model has two dozen of them and is over in 20 microseconds. Here
// who waits looks for a while, then sleeps, and the system is called only where somebody does sleep.
#include <pthread.h>
#include <stdatomic.h>

#include "native.h"
#include "simd.h"

// Looks before a thread sleeps: a millisecond or less, and a microsecond. Where others want the same processors, who looks
// for long keeps the one that is waited for from working.
enum { PATIENT = 1 << 15, HASTY = 64 };

static const int64_t *crowded;  // 1 while others want them; 06_threads.ipynb watches for that

EXPORT void textgen_crowded(const int64_t *flag) { crowded = flag; }

static int patience(void) { return crowded && __atomic_load_n(crowded, __ATOMIC_RELAXED) ? HASTY : PATIENT; }

typedef struct {
    _Alignas(64) atomic_int_fast64_t arrived;   // how many wait for the others
    _Alignas(64) atomic_int_fast64_t meetings;  // that are over
    atomic_int_fast64_t asleep;
    pthread_mutex_t lock;
    pthread_cond_t over;
} Team;

static _Thread_local Team *my_team;

// To be called by each thread of a team: `part` of the whole.
void together(void (*part)(void *), void *whole, int64_t threads) {
    if (threads == 1) {
        part(whole);  // no parallel region: even one thread alone would call the system
        return;
    }
    Team team = {.lock = PTHREAD_MUTEX_INITIALIZER, .over = PTHREAD_COND_INITIALIZER};
#pragma omp parallel num_threads(threads)
    {
        my_team = &team;
        part(whole);
    }
}

static void sleep_until_over(Team *team, int64_t meeting) {
    pthread_mutex_lock(&team->lock);
    atomic_fetch_add(&team->asleep, 1);
    while (atomic_load(&team->meetings) == meeting) pthread_cond_wait(&team->over, &team->lock);
    atomic_fetch_sub(&team->asleep, 1);
    pthread_mutex_unlock(&team->lock);
}

// Each of the two, who comes last and who falls asleep, first says so and then looks at the other: one of them sees it.
static void end_meeting(Team *team, int64_t meeting) {
    atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
    atomic_store(&team->meetings, meeting + 1);
    if (!atomic_load(&team->asleep)) return;
    pthread_mutex_lock(&team->lock);
    pthread_cond_broadcast(&team->over);
    pthread_mutex_unlock(&team->lock);
}

void meet(void) {
    int64_t threads = omp_get_num_threads();
    if (threads == 1) return;
    Team *team = my_team;
    int64_t meeting = atomic_load_explicit(&team->meetings, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&team->arrived, 1, memory_order_acq_rel) + 1 == threads) {
        end_meeting(team, meeting);
        return;
    }
    for (int looks = patience(); looks; looks--) {
        if (atomic_load_explicit(&team->meetings, memory_order_acquire) != meeting) return;
        look_away();
    }
    sleep_until_over(team, meeting);
}
