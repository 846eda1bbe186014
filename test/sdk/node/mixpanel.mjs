/** Mixpanel for Node: events in the address, batches in a form, and what is said of people and groups. */
import Mixpanel from 'mixpanel';

const EVENT = { distinct_id: 'user-0', $device_id: 'device-0' };

const CALLS = [
  (client, mark, done) => client.track('ordered', { ...EVENT, mark }, done),
  (client, mark, done) =>
    client.track_batch([{ event: 'paid', properties: { ...EVENT, mark, time: new Date() } }], done),
  (client, mark, done) => client.import('imported', new Date(), { ...EVENT, mark }, done),
  (client, mark, done) => client.people.set('user-0', { mark }, done),
  (client, mark, done) => client.groups.set('company', 'c-0', { mark }, done),
];

/** A single call reports an error, a batch a list of them. */
const isSent = (failure) => !failure || (Array.isArray(failure) && failure.every((one) => !one));

export const mixpanelClients = [
  {
    name: 'mixpanel-node',
    open(url, token) {
      const client = Mixpanel.init(token, { protocol: 'http', host: new URL(url).host, key: token });
      return {
        send: (mark, turn) =>
          new Promise((resolve) => CALLS[turn % CALLS.length](client, mark, (failure) => resolve(isSent(failure)))),
        close: async () => {},
      };
    },
  },
];
