/** Amplitude for Node. */
import { Destination } from '@amplitude/analytics-core';
import { createInstance, Identify, Types } from '@amplitude/analytics-node';

const CALLS = [
  (client, mark) => client.track('ordered', { mark }, { user_id: 'user-0', device_id: 'device-0' }),
  (client, mark) => client.identify(new Identify().set('mark', mark), { user_id: 'user-0', device_id: 'device-0' }),
  (client, mark) => client.groupIdentify('company', 'c-0', new Identify().set('mark', mark), { device_id: 'device-0' }),
];

/** Events that are throttled wait half a minute, which no option shortens. */
Object.defineProperty(Destination.prototype, 'throttleTimeout', { get: () => 1_000, set: () => {} });

export const amplitudeClients = [
  {
    name: 'amplitude-node',
    open(url, token) {
      const client = createInstance();
      client.init(token, {
        serverUrl: `${url}/2/httpapi`,
        flushQueueSize: 3,
        flushIntervalMillis: 200,
        logLevel: Types.LogLevel.None,
      });
      return {
        send: async (mark, turn) => (await CALLS[turn % CALLS.length](client, mark).promise).code === 200,
        // An explicit flush would give up events that wait for another try; the client sends by itself.
        close: async () => {},
      };
    },
  },
];
