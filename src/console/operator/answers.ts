/** The types of what the operator API answers, for the page: as JSON, instants as text (RFC 3339). */
import type { InferOutput } from 'valibot';
import type * as schemas from './schemas.ts';

/** A change that takes a while, as `GET /jobs/:id` answers it. */
export type Job = InferOutput<typeof schemas.Job>;
export type ListedJob = InferOutput<typeof schemas.ListedJob>;
export type JobStarted = InferOutput<typeof schemas.JobStarted>;
export type JobPage = InferOutput<typeof schemas.JobPage>;

export type LetterStats = InferOutput<typeof schemas.LetterStats>;
export type LetterGroups = InferOutput<typeof schemas.LetterGroups>;
export type Letter = InferOutput<typeof schemas.Letter>;
export type LetterPage = InferOutput<typeof schemas.LetterPage>;
export type LetterRows = InferOutput<typeof schemas.LetterRows>;
export type LetterCount = InferOutput<typeof schemas.LetterCount>;
export type AuditPage = InferOutput<typeof schemas.AuditPage>;
/** Which letters an action is about. */
export type LetterSelection = InferOutput<typeof schemas.LetterSelection>;

export type Intake = InferOutput<typeof schemas.Intake>;
export type Drain = InferOutput<typeof schemas.Drain>;

export type RejectedPage = InferOutput<typeof schemas.RejectedPage>;
export type RejectedEvent = InferOutput<typeof schemas.RejectedShown>;
/** Which rejected events an action is about; none of the members: all. */
export type RejectedSelection = InferOutput<typeof schemas.RejectedSelection>;

export type Project = InferOutput<typeof schemas.Project>;
export type ProjectPage = InferOutput<typeof schemas.ProjectPage>;
export type ProjectDetails = InferOutput<typeof schemas.ProjectDetails>;
export type Token = InferOutput<typeof schemas.Token>;
export type TokenPage = InferOutput<typeof schemas.TokenPage>;
export type NewToken = InferOutput<typeof schemas.NewToken>;
export type RetentionEffect = InferOutput<typeof schemas.RetentionEffect>;
export type RetentionChanged = InferOutput<typeof schemas.RetentionChanged>;
export type OriginsChanged = InferOutput<typeof schemas.OriginsChanged>;

export type ProjectSchema = InferOutput<typeof schemas.ProjectSchema>;
export type QueryAnswer = InferOutput<typeof schemas.QueryAnswer>;
export type Cookbook = InferOutput<typeof schemas.Cookbook>;

export type Ledger = InferOutput<typeof schemas.Ledger>;
export type Doctor = InferOutput<typeof schemas.Doctor>;
export type Check = InferOutput<typeof schemas.Check>;
