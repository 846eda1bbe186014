/** Mixpanel for browsers. */
import mixpanel from 'mixpanel-browser';

export const clients = {
  'mixpanel-browser': (url, token) => {
    const client = mixpanel.init(token, { api_host: url, batch_flush_interval_ms: 300, ignore_dnt: true }, 'shop');
    return { send: (mark) => client.track('ordered', { mark }) };
  },
};
