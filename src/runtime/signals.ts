/** The signals that end a process of Weir in order, and those that it leaves to the system. */

/** Each of them is answered with an orderly end. */
export const ENDING_SIGNALS = ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGUSR2', 'SIGABRT', 'SIGTRAP'] as const;

/**
 * Of these, what Ctrl-C and a service manager send to the whole process group. In a process that the service has begun,
 * nothing happens: the service tells it when to end.
 */
export const LEFT_TO_SERVICE = ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGUSR2'] as const;

/**
 * A crash in native code. A listener would keep the process alive: the instruction that failed is run again, for ever,
 * and JavaScript never hears of it.
 */
export const CRASHES = ['SIGBUS', 'SIGFPE', 'SIGILL', 'SIGSEGV'] as const;

/**
 * One request to end may arrive twice: npm passes on what the terminal has sent to the whole group, and a service
 * manager may signal all processes of a service. A person who signals again takes longer.
 */
export const SAME_SIGNAL_WITHIN_MS = 1_000;
