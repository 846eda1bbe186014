/**
 * What a start leaves behind: V8 lets the young generation grow while modules are loaded, and a process that has nothing
 * to do never comes to the collection of the whole heap that would give its pages back (decision 65).
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Clock } from './clock.ts';

/** Modules are loaded by then, and the stores have been asked what they are. */
const AFTER_MS = 5_000;

/** Collects it a few seconds from now, once. Nothing else runs meanwhile: 18 ms in a process that is idle. */
export function collectStartupGarbage(clock: Pick<Clock, 'sleep'>): void {
  void clock.sleep(AFTER_MS).then(() => {
    // A context that is made under this flag has the function; there is no other way to it in a running process.
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    setFlagsFromString('--no-expose-gc');
    collect();
  });
}
