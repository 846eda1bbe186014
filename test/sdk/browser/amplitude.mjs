/** Amplitude for browsers. */
import { createInstance } from '@amplitude/analytics-browser';

export const clients = {
  'amplitude-browser': async (url, token) => {
    const client = createInstance();
    const options = { autocapture: false, fetchRemoteConfig: false, flushIntervalMillis: 300, flushQueueSize: 3 };
    await client.init(token, { ...options, serverUrl: `${url}/2/httpapi` }).promise;
    // With `beacon`, as its documentation says, for what is left when the page is.
    addEventListener('pagehide', () => {
      client.setTransport('beacon');
      client.flush();
    });
    return { send: async (mark) => (await client.track('ordered', { mark }).promise).code === 200 };
  },
};
