/** PostHog for Node: the current client in both of its capture modes, and an older one. */
import { randomUUID } from 'node:crypto';
import { PostHog } from 'posthog-node';
import { PostHog as PostHog4 } from 'posthog-node-4';

/** Names of one's own, and those of the client: the mark is in the properties of each. */
const CALLS = [
  (client, uuid, mark) => client.capture({ uuid, distinctId: 'user-0', event: 'ordered', properties: { mark } }),
  (client, uuid, mark) => client.capture({ uuid, distinctId: 'user-0', event: '$pageview', properties: { mark } }),
  (client, uuid, mark) =>
    client.capture({ uuid, distinctId: 'user-0', event: 'paid', properties: { mark }, groups: { company: 'c-0' } }),
];

/** A batch counts as sent when a flush that contained it succeeded; the client keeps what it could not connect for. */
function opened(client) {
  const outcomes = new Map();
  client.on('flush', (messages) => {
    for (const { uuid } of messages) outcomes.get(uuid)?.(true);
  });
  return {
    send: (mark, turn) => {
      const uuid = randomUUID();
      const outcome = new Promise((resolve) => outcomes.set(uuid, resolve));
      CALLS[turn % CALLS.length](client, uuid, mark);
      return outcome;
    },
    async close() {
      await client.shutdown(60_000);
      for (const settle of outcomes.values()) settle(false);
    },
  };
}

const OPTIONS = { flushAt: 3, flushInterval: 200, fetchRetryCount: 60, fetchRetryDelay: 500 };

function opener(Client, mode) {
  return (url, token) => {
    // The client reads it once, when it is made.
    if (mode === 'v1') process.env['POSTHOG_CAPTURE_MODE'] = 'v1';
    const client = new Client(token, { ...OPTIONS, host: url });
    delete process.env['POSTHOG_CAPTURE_MODE'];
    return opened(client);
  };
}

export const posthogClients = [
  { name: 'posthog-node-5', open: opener(PostHog, 'v0') },
  { name: 'posthog-node-5-v1', open: opener(PostHog, 'v1') },
  { name: 'posthog-node-4', open: opener(PostHog4, 'v0') },
];
