/** What HTTP and JSON cost by themselves: reads a body, parses it, answers 202. Says its port on stdout. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

const ANSWER = '{"accepted":1}';

const server = createServer((incoming, answer) => {
  const chunks: Buffer[] = [];
  incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
  incoming.on('end', () => {
    JSON.parse(Buffer.concat(chunks).toString());
    answer.writeHead(202, { 'Content-Type': 'application/json', 'Content-Length': ANSWER.length }).end(ANSWER);
  });
});
server.listen(0, '127.0.0.1', () => process.stdout.write(`${(server.address() as AddressInfo).port}\n`));
