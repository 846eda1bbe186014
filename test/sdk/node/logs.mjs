/** Loggers that send over HTTP. */
import { pino } from 'pino';
import { createWriteStream } from 'pino-http-send';
import winston from 'winston';

export const logClients = [
  {
    name: 'winston',
    open(url, token) {
      const { hostname: host, port } = new URL(url);
      const transport = new winston.transports.Http({ host, port, path: '/logs', auth: { bearer: token } });
      const logger = winston.createLogger({ transports: [transport] });
      const outcomes = new Map();
      // Which line was lost it does not say: of those that got an answer or an error, the ones that were not logged.
      const isOver = Promise.withResolvers();
      let isClosing = false;
      let open = 0;
      const over = () => {
        open--;
        settleIfLast();
      };
      function settleIfLast() {
        if (!isClosing || open > 0) return;
        for (const settle of outcomes.values()) settle(false);
        isOver.resolve();
      }
      transport.on('logged', ({ mark }) => {
        outcomes.get(mark)(true);
        over();
      });
      transport.on('warn', over);
      return {
        send: (mark) => {
          open++;
          const outcome = new Promise((resolve) => outcomes.set(mark, resolve));
          logger.info('ordered', { event: 'ordered', mark });
          return outcome;
        },
        close() {
          isClosing = true;
          settleIfLast();
          return isOver.promise;
        },
      };
    },
  },
  {
    // It reports to nobody, and drops a batch after its retries: what is logged counts as sent.
    name: 'pino-http-send',
    open(url, token) {
      const stream = createWriteStream({
        url: `${url}/logs`,
        headers: { authorization: `Bearer ${token}` },
        batchSize: 3,
        timeout: 200,
        interval: 500,
        retries: 60,
      });
      const logger = pino(stream);
      return {
        send: async (mark) => {
          logger.info({ event: 'ordered', mark }, 'ordered');
          return true;
        },
        close: async () => {},
      };
    },
  },
];
