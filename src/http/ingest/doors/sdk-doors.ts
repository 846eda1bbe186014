/** The front doors for clients of other services, family by family. */
import { amplitudeDoor } from './amplitude.ts';
import { batchDoor } from './batch.ts';
import { cloudEventsDoor } from './cloudevents.ts';
import type { Door } from './door.ts';
import { ga4Door } from './ga4.ts';
import { logsDoor } from './logs.ts';
import { mixpanelDoors } from './mixpanel.ts';
import { otlpDoor } from './otlp.ts';
import { plausibleDoor } from './plausible.ts';
import { posthogDoors } from './posthog.ts';
import { segmentDoors } from './segment.ts';
import { umamiDoor } from './umami.ts';

export const sdkDoors: readonly Door[] = [
  ...segmentDoors,
  ...posthogDoors,
  otlpDoor,
  amplitudeDoor,
  batchDoor,
  ...mixpanelDoors,
  ga4Door,
  plausibleDoor,
  umamiDoor,
  cloudEventsDoor,
  logsDoor,
];
