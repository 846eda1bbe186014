/** Stops a process whenever it has used its share of a core, and continues it later, until its own input ends: PID SHARE. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ownCpuMsOf } from './process-usage.ts';

const LOOK_EVERY_MS = 2;
/** So much of its time comes at once: Linux tells what it used in steps of ten milliseconds. */
const AT_ONCE_MS = 20;

const [pid, share] = process.argv.slice(2).map(Number) as [number, number];
const over = new AbortController();
let isStopped = false;
process.stdin.on('end', () => over.abort()).resume();

let left = AT_ONCE_MS;
for (let at = performance.now(), used = ownCpuMsOf(pid); !over.signal.aborted; await sleep(LOOK_EVERY_MS)) {
  const [now, usedNow] = [performance.now(), ownCpuMsOf(pid)];
  // What it did not want is not saved up.
  left = Math.min(left + (now - at) * share - (usedNow - used), AT_ONCE_MS);
  [at, used] = [now, usedNow];
  if (left <= 0) stop();
  else if (left >= AT_ONCE_MS) goOn();
}
goOn();

function stop() {
  if (!isStopped) signal('SIGSTOP');
  isStopped = true;
}

function goOn() {
  if (isStopped) signal('SIGCONT');
  isStopped = false;
}

/** One that has ended needs no turns. */
function signal(name: NodeJS.Signals) {
  try {
    process.kill(pid, name);
  } catch {
    over.abort();
  }
}
