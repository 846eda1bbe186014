/** Umami for Node. It resolves for any status, so the app looks at it. */
import { Umami } from '@umami/node';

const CALLS = [
  (client, mark) => client.track('ordered', { mark }),
  (client, mark) => client.track({ url: '/start', title: 'Start', name: 'visited', data: { mark } }),
  (client, mark) => client.identify({ mark }),
];

export const umamiClients = [
  {
    name: 'umami-node',
    open(url, token) {
      const client = new Umami({ websiteId: token, hostUrl: url });
      return {
        send: (mark, turn) =>
          CALLS[turn % CALLS.length](client, mark).then(
            ({ ok }) => ok,
            () => false,
          ),
        close: async () => {},
      };
    },
  },
];
