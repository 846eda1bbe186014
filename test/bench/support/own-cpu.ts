/**
 * Processor time of one call, in microseconds, from as many as fit into the time. Of this whole process: what
 * a call leaves to the garbage collector is its own cost.
 */
export function cpuUsOfCall(work: () => void, forMs: number): number {
  const before = process.cpuUsage();
  const startedAt = performance.now();
  let calls = 0;
  while (performance.now() - startedAt < forMs) {
    work();
    calls += 1;
  }
  const { user, system } = process.cpuUsage(before);
  return (user + system) / calls;
}
