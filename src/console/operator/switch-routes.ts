/** The switches that hold for every process: intake, and the drain. */
import * as v from 'valibot';
import { readDrain, setDrain } from '../../operations/drain-switch.ts';
import { readIntake, setIntake } from '../../operations/intake-switch.ts';
import type { OperatorDeps } from './operator-deps.ts';
import { type OperatorRoute, route } from './route.ts';
import * as schemas from './schemas.ts';

export function switchRoutes({ db, isDisabledHere }: OperatorDeps): OperatorRoute[] {
  const tag = 'Switches';
  return [
    route({
      method: 'GET',
      path: '/intake',
      tag,
      summary: 'Whether new events are accepted, since when, and by whom.',
      description: '`INGEST_DISABLED`: whether this service is closed by that setting, regardless of the switch.',
      answer: schemas.Intake,
      says: 'As `weir intake status --json`.',
      handle: async () => ({ ...(await readIntake(db)), INGEST_DISABLED: isDisabledHere }),
    }),
    route({
      method: 'PUT',
      path: '/intake',
      tag,
      summary: 'Refuse new events in every process, or accept them again, within five seconds.',
      body: v.strictObject({ position: schemas.IntakePosition }),
      answer: schemas.IntakeMoved,
      says: 'Where it is now, and whether it moved.',
      async handle({ body: { position }, operator }) {
        return { intake: position, changed: await setIntake(db, { position, actor: operator.name }) };
      },
    }),
    route({
      method: 'GET',
      path: '/drain',
      tag,
      summary: 'Whether dead letters are replayed, since when, and by whom.',
      answer: schemas.Drain,
      says: 'Its position.',
      handle: () => readDrain(db),
    }),
    route({
      method: 'PUT',
      path: '/drain',
      tag,
      summary: 'Stop replaying dead letters in every process, or go on, within five seconds.',
      body: v.strictObject({ position: schemas.DrainPosition }),
      answer: schemas.DrainMoved,
      says: 'Where it is now, and whether it moved.',
      async handle({ body: { position }, operator }) {
        return { drain: position, changed: await setDrain(db, { position, actor: operator.name }) };
      },
    }),
  ];
}
