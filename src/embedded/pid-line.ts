/**
 * What a host says on stdout once it knows the server's pid. A module that an operator preloads (`NODE_OPTIONS`) may
 * print there too, and leave a line without an end.
 */

export const pidLine = (pid: number): string => `weir: server process ${pid}\n`;

/** null where the line is another. */
export function pidIn(line: string): number | null {
  const [, pid] = /weir: server process (\d+)$/.exec(line) ?? [];
  return pid === undefined ? null : Number(pid);
}
