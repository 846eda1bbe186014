/**
 * An app that uses every client at once. Its parent tells it round by round which marks to send, then to end; it
 * answers with the marks that each client counts as sent.
 *
 * Messages: `{ open: { token, urls } }`, `{ send: { client: marks } }`, answered by `{ handedOver }`, and
 * `{ end: true }`, answered by `{ sent: { client: marks } }`.
 */
import { amplitudeClients } from './amplitude.mjs';
import { cloudeventsClients } from './cloudevents.mjs';
import { logClients } from './logs.mjs';
import { mixpanelClients } from './mixpanel.mjs';
import { otlpClients } from './otlp.mjs';
import { posthogClients } from './posthog.mjs';
import { segmentClients } from './segment.mjs';
import { umamiClients } from './umami.mjs';

const ALL = [
  ...amplitudeClients,
  ...cloudeventsClients,
  ...logClients,
  ...mixpanelClients,
  ...otlpClients,
  ...posthogClients,
  ...segmentClients,
  ...umamiClients,
];

/** By name: `{ send, close, turns, outcomes }`. */
const opened = new Map();

const steps = {
  open({ token, urls }) {
    opened.clear();
    for (const { name, open } of ALL)
      if (urls[name] !== undefined) opened.set(name, { ...open(urls[name], token), turns: 0, outcomes: [] });
    return { names: [...opened.keys()] };
  },
  send(marks) {
    for (const [name, client] of opened)
      for (const mark of marks[name]) client.outcomes.push([mark, client.send(mark, client.turns++)]);
    return { handedOver: true };
  },
  async end() {
    const settled = [...opened].map(async ([name, { close, outcomes }]) => {
      await close();
      const marks = await Promise.all(outcomes.map(async ([mark, outcome]) => ((await outcome) ? [mark] : [])));
      return [name, marks.flat()];
    });
    return { sent: Object.fromEntries(await Promise.all(settled)) };
  },
};

process.on('message', (message) => {
  const [[step, argument]] = Object.entries(message);
  // What fails here ends the app, and the parent says so.
  void Promise.resolve(steps[step](argument)).then((answer) => process.send(answer));
});
process.on('disconnect', () => process.exit());
