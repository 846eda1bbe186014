/** CloudEvents: binary, structured and batches. The transport resolves for any status, so the app looks at the body. */
import { CloudEvent, emitterFor, HTTP, httpTransport, Mode } from 'cloudevents';

const eventOf = (mark) => new CloudEvent({ type: 'shop.ordered', source: '/shop', data: { mark } });

export const cloudeventsClients = [
  {
    name: 'cloudevents-node',
    open(url, token) {
      const transport = httpTransport(`${url}/cloudevents?token=${token}`);
      const modes = [Mode.BINARY, Mode.STRUCTURED];
      const emit = (mark, turn) => emitterFor(transport, { mode: modes[turn % modes.length] })(eventOf(mark));
      const emitBatch = (mark) =>
        transport({
          headers: { 'content-type': 'application/cloudevents-batch+json' },
          body: JSON.stringify([JSON.parse(HTTP.structured(eventOf(mark)).body)]),
        });
      return {
        send: (mark, turn) =>
          (turn % 3 === 2 ? emitBatch(mark) : emit(mark, turn)).then(
            ({ body }) => body === '{"status":"ok"}',
            () => false,
          ),
        close: async () => {},
      };
    },
  },
];
