/**
 * What other services' clients request before they send anything, or send besides events: fixed answers for any key,
 * from memory. Without the settings, some send nothing at all.
 */
import type { Context } from 'hono';
import type { AppRoute, Operation } from './description/route.ts';
import { foldedPath } from './request/request-target.ts';

const CACHED = { 'Content-Type': 'application/json', 'Cache-Control': 'max-age=300' };

type Stub = {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly summary: string;
  readonly answer: (c: Context) => Response;
  /** JSON by default. */
  readonly mediaType?: string;
};

/** `newId`: generates a UUID. */
export function clientSettings({ newId }: { newId: () => string }): readonly AppRoute[] {
  return [...STUBS, ...flagStubs(newId)].map((stub) => ({
    method: stub.method,
    path: stub.path,
    handler: stub.answer,
    operation: operationOf(stub),
  }));
}

const STUBS: readonly Stub[] = [
  {
    method: 'POST',
    path: '/v1/m',
    summary: 'Take what Segment’s client for browsers measures of itself, and keep nothing of it.',
    answer: (c) => c.json({ success: true }),
  },
  {
    method: 'GET',
    path: '/v1/projects/:key/settings',
    summary: 'Give Segment’s client for browsers its settings.',
    answer: (c) => c.body(JSON.stringify(segmentSettings(c.req.param('key')!)), 200, CACHED),
  },
  {
    method: 'GET',
    path: '/sourceConfig',
    summary: 'Give RudderStack’s client for browsers its settings.',
    answer: (c) => c.body(JSON.stringify(rudderSettings(c.req.query('writeKey') ?? '')), 200, CACHED),
  },
  {
    method: 'GET',
    path: '/array/:token/config',
    summary: 'Give PostHog’s client for browsers its settings.',
    answer: (c) => c.json(POSTHOG_SETTINGS),
  },
  {
    method: 'GET',
    path: '/array/:token/config.js',
    summary: 'Give PostHog’s client for browsers its settings as a script, which is empty.',
    answer: (c) => c.body('', 200, { 'Content-Type': 'application/javascript' }),
    mediaType: 'application/javascript',
  },
];

const FLAGS = ['/flags', '/decide'] as const;

function flagStubs(newId: () => string): readonly Stub[] {
  return FLAGS.flatMap((path) =>
    (['POST', 'GET'] as const).map((method) => ({
      method,
      path,
      summary: 'Tell PostHog’s clients that there are no feature flags.',
      answer: (c) =>
        c.json({
          flags: {},
          featureFlags: {},
          featureFlagPayloads: {},
          errorsWhileComputingFlags: false,
          requestId: newId(),
          supportedCompression: ['gzip', 'gzip-js'],
          sessionRecording: false,
          siteApps: [],
        }),
    })),
  );
}

const POSTHOG_SETTINGS = {
  supportedCompression: ['gzip', 'gzip-js'],
  hasFeatureFlags: false,
  captureDeadClicks: false,
  capturePerformance: false,
  autocapture_opt_out: false,
  surveys: false,
  heatmaps: false,
  sessionRecording: false,
  defaultIdentifiedOnly: true,
  elementsChainAsString: true,
  siteApps: [],
};

function segmentSettings(key: string): object {
  return {
    integrations: {
      'Segment.io': {
        apiKey: key,
        unbundledIntegrations: [],
        addBundledMetadata: true,
        maybeBundledConfigIds: {},
        versionSettings: { version: '4.4.7', componentTypes: ['browser'] },
      },
    },
    plan: {},
    edgeFunction: {},
    analyticsNextEnabled: true,
    enabledMiddleware: {},
    metrics: { sampleRate: 0 },
    legacyVideoPluginsEnabled: false,
    remotePlugins: [],
  };
}

function rudderSettings(writeKey: string): object {
  return {
    source: {
      id: 'weir',
      name: 'weir',
      writeKey,
      enabled: true,
      config: { statsCollection: { errors: { enabled: false }, metrics: { enabled: false } } },
      workspaceId: 'weir',
      connections: [],
      destinations: [],
      dataplanes: {},
    },
    updatedAt: '2026-01-01T00:00:00.000Z',
  };
}

function operationOf({ path, summary, mediaType }: Stub): Operation {
  const keys = [...path.matchAll(/:(\w+)/g)].map(([, name]) => name!);
  return {
    tag: 'Clients',
    summary,
    schemes: ['none'],
    parameters: keys.map((name) => ({
      in: 'path',
      name,
      description: 'The key of the client; any.',
      required: true,
      schema: { type: 'string' },
    })),
    answers: {
      200: {
        description: 'What this client expects.',
        schema: { type: mediaType === undefined ? 'object' : 'string' },
        ...(mediaType !== undefined && { mediaType }),
      },
    },
    refusals: ['internal'],
  };
}

/** Whether a path is one of these, in one of the clients' spellings. */
const PATTERNS = [...STUBS.map(({ path }) => path), ...FLAGS, '/debug/mp/collect'].map(
  (path) => new RegExp(`^${path.replaceAll('.', String.raw`\.`).replaceAll(/:\w+/g, '[^/]+')}$`),
);

/** The target with the usual spelling of its path, where it is one of these with a surplus slash. */
export function settingsTarget(target: string): string {
  const end = target.indexOf('?');
  const path = end < 0 ? target : target.slice(0, end);
  if (!path.endsWith('/') && !path.includes('//')) return target;
  const folded = foldedPath(path);
  return PATTERNS.some((pattern) => pattern.test(folded)) ? folded + (end < 0 ? '' : target.slice(end)) : target;
}
