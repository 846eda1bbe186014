/** RudderStack for browsers. */
import { RudderAnalytics } from '@rudderstack/analytics-js/bundled';

export const clients = {
  'rudder-browser': (url, token) => {
    const client = new RudderAnalytics();
    client.load(token, url, { configUrl: url, logLevel: 'NONE' });
    return new Promise((resolve) => client.ready(() => resolve({ send: (mark) => client.track('ordered', { mark }) })));
  },
};
