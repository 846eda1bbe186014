/** Bare connections, for requests that no proper client would send. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export type Line = {
  readonly socket: Socket;
  write(bytes: string | Uint8Array): void;
  /** The bytes received so far. */
  received(): string;
  /** Everything received, once the other side ended the connection. */
  ended: Promise<string>;
  /** Resolves when the received bytes satisfy `isEnough`, or the connection ended. */
  until(isEnough: (received: string) => boolean): Promise<string>;
};

/** A bare connection, for requests that no proper client would send. */
export async function dial(port: number): Promise<Line> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  let received = '';
  socket.setEncoding('latin1').on('data', (text: string) => (received += text));
  // A reset is one of the ways a connection may end.
  socket.on('error', () => {});
  const ended = Promise.race([once(socket, 'end'), once(socket, 'close')]).then(() => received);
  await once(socket, 'connect');
  return {
    socket,
    write: (bytes) => void socket.write(bytes),
    received: () => received,
    ended,
    async until(isEnough) {
      while (!isEnough(received) && !socket.readableEnded && !socket.destroyed) {
        const heard = new AbortController();
        const news = [once(socket, 'data', { signal: heard.signal }), ended];
        await Promise.race(news);
        heard.abort();
        await Promise.allSettled(news.slice(0, 1));
      }
      return received;
    },
  };
}

/** Writes `bytes` again and again until the other side reads no more, or `maxBytes` are written. Returns how many it took. */
export async function writeUntilFull({ socket }: Line, bytes: string, maxBytes: number): Promise<number> {
  let takenBytes = 0;
  const isTaken = () =>
    Promise.race([new Promise<boolean>((resolve) => socket.write(bytes, () => resolve(true))), sleep(300, false)]);
  while (takenBytes < maxBytes && (await isTaken())) takenBytes += bytes.length;
  return takenBytes;
}

/** Sends bytes over a new connection and returns what came back until the other side ended it. */
export async function exchange(port: number, request: string | Uint8Array): Promise<string> {
  const line = await dial(port);
  line.write(request);
  const received = await line.ended;
  line.socket.destroy();
  return received;
}
