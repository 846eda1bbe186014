/** PostHog for browsers, of two generations of its wire format. */
import { PostHog } from 'posthog-js';
import { PostHog as PostHog1172 } from 'posthog-js-1.172';

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

const opener = (Client) => (url, token) => {
  const client = new Client();
  client.init(token, { ...OPTIONS, api_host: url });
  return { send: (mark) => client.capture('ordered', { mark }) };
};

export const clients = { 'posthog-js': opener(PostHog), 'posthog-js-1.172': opener(PostHog1172) };
