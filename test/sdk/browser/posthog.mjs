/** PostHog for browsers: four versions, of two generations of its wire format. */

const OPTIONS = {
  autocapture: false,
  capture_pageview: false,
  capture_pageleave: false,
  disable_external_dependency_loading: true,
  disable_session_recording: true,
  disable_surveys: true,
  // It takes a browser without a window for a bot.
  opt_out_useragent_filter: true,
};

const opener = (version) => async (url, token) => {
  const { PostHog } = await version();
  const client = new PostHog();
  client.init(token, { ...OPTIONS, api_host: url });
  return { send: (mark) => void client.capture('ordered', { mark }) };
};

export const clients = {
  'posthog-js': opener(() => import('posthog-js')),
  'posthog-js-1.400': opener(() => import('posthog-js-1.400')),
  'posthog-js-1.360': opener(() => import('posthog-js-1.360')),
  'posthog-js-1.172': opener(() => import('posthog-js-1.172')),
};
