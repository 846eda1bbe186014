import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const PROCESS = fileURLToPath(new URL('throttle-process.ts', import.meta.url));

/**
 * Gives a process so much of a core's time and no more, so that it is saturated while the machine is not. Returns what
 * ends that. A process of its own keeps the account: this one is busy with the load.
 */
export function throttle(pid: number, { share }: { share: number }): () => Promise<void> {
  const child = spawn(process.execPath, [PROCESS, String(pid), String(share)], {
    stdio: ['pipe', 'ignore', 'inherit'],
  });
  const ended = once(child, 'close');
  return async () => {
    child.stdin.end();
    await ended;
  };
}
