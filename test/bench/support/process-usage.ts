/** What a process and its children have used, as Linux counts it. */
import { readFileSync, readdirSync } from 'node:fs';

/** Linux tells processor time in hundredths of a second, whatever the kernel ticks at. */
const MS_PER_TICK = 10;

/** Processor time in user and system, of the process, its children that live and those that have ended. */
export function cpuMsOf(pid: number): number {
  return familyOf(pid).reduce((sum, member) => sum + cpuTicksOf(member), 0) * MS_PER_TICK;
}

/** The same of the process alone. */
export const ownCpuMsOf = (pid: number): number => cpuTicksOf(pid) * MS_PER_TICK;

const NS_PER_MS = 1_000_000;

/**
 * The same as the scheduler counts it, to the nanosecond, for a process whose threads last as long as it does: what
 * threads have used that ended is not in it, nor what ended children have.
 */
export function threadCpuMsOf(pid: number): number {
  const perThread = familyOf(pid).flatMap((member) => threadsOf(member).map((thread) => ranNsOf(member, thread)));
  const ns = perThread.reduce((sum, ran) => sum + ran, 0);
  // A kernel without these counts says nothing, or 0.
  return ns === 0 ? cpuMsOf(pid) : ns / NS_PER_MS;
}

function threadsOf(pid: number): readonly string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    return []; // It ended between the listing and the look.
  }
}

const ranNsOf = (pid: number, thread: string) =>
  Number(readOrEmpty(`/proc/${pid}/task/${thread}/schedstat`).split(' ')[0]);

/** The processes that it has started and that still run. */
export const childrenOf = (pid: number): readonly number[] => familyOf(pid).slice(1);

/** The memory that the process holds now, its children not counted. */
export function rssMiBOf(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readOrEmpty(`/proc/${pid}/status`))?.[1] ?? 0) / 1_024;
}

/** The most memory that any one of them has held at once. */
export function peakRssMiBOf(pid: number): number {
  const peaksKiB = familyOf(pid).map((member) =>
    Number(/^VmHWM:\s+(\d+) kB$/m.exec(readOrEmpty(`/proc/${member}/status`))?.[1] ?? 0),
  );
  return Math.max(...peaksKiB) / 1_024;
}

function cpuTicksOf(pid: number): number {
  // utime, stime, and both of the children that were waited for.
  return statOf(pid)
    .slice(11, 15)
    .reduce((sum, ticks) => sum + Number(ticks), 0);
}

function familyOf(pid: number): readonly number[] {
  const parents = readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map((entry) => ({ pid: Number(entry), parent: Number(statOf(Number(entry))[1]) }));
  const family = [pid];
  for (const member of family) {
    for (const { pid: child, parent } of parents) if (parent === member) family.push(child);
  }
  return family;
}

/** From the state on: what stands before, the name, may hold spaces and parentheses. Empty when the process is gone. */
function statOf(pid: number): readonly string[] {
  return readOrEmpty(`/proc/${pid}/stat`).split(') ').at(-1)!.split(' ');
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // It ended between the listing and the look.
  }
}
