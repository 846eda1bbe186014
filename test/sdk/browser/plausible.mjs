/** Plausible’s tracker, and the older one. */
import { init, track } from '@plausible-analytics/tracker';
import Plausible from 'plausible-tracker';

export const clients = {
  'plausible-tracker': (url, token) => {
    // It ignores a browser that is driven by a program, but for its own tests.
    window.__plausible = true;
    init({ domain: token, endpoint: `${url}/api/event`, captureOnLocalhost: true, autoCapturePageviews: false });
    return {
      send: (mark) =>
        new Promise((resolve) =>
          track('ordered', { props: { mark }, callback: (answer) => resolve(answer?.status === 202) }),
        ),
    };
  },
  'plausible-tracker-0.3': (url, token) => {
    const { trackEvent } = Plausible({ domain: token, apiHost: url, trackLocalhost: true });
    return { send: (mark) => trackEvent('ordered', { props: { mark } }) };
  },
};
