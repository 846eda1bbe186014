CREATE TABLE "api_tokens" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"project_id" uuid NOT NULL,
	"kind" text NOT NULL,
	"token_hash" text NOT NULL,
	"name" text,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"last_used_at" timestamp (3) with time zone,
	"revoked_at" timestamp (3) with time zone,
	CONSTRAINT "api_tokens_token_hash_unique" UNIQUE("token_hash"),
	CONSTRAINT "api_tokens_kind_known" CHECK ("api_tokens"."kind" in ('public', 'secret')),
	CONSTRAINT "api_tokens_token_hash_sha256" CHECK ("api_tokens"."token_hash" ~ '^[0-9a-f]{64}$')
);
--> statement-breakpoint
CREATE TABLE "failed_events" (
	"id" uuid PRIMARY KEY NOT NULL,
	"parent_id" uuid,
	"generation" integer DEFAULT 0 NOT NULL,
	"payload" "bytea" NOT NULL,
	"raw_bytes" integer NOT NULL,
	"event_count" integer NOT NULL,
	"project_ids" uuid[] NOT NULL,
	"error_class" text NOT NULL,
	"error_code" integer,
	"error_fingerprint" text NOT NULL,
	"last_error" text NOT NULL,
	"ambiguous" boolean DEFAULT false NOT NULL,
	"attempt_count" integer DEFAULT 0 NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"last_attempt_at" timestamp (3) with time zone,
	"visible_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"lease_token" uuid,
	"quarantined_at" timestamp (3) with time zone,
	"quarantine_reason" text,
	CONSTRAINT "failed_events_event_count_positive" CHECK ("failed_events"."event_count" > 0),
	CONSTRAINT "failed_events_raw_bytes_positive" CHECK ("failed_events"."raw_bytes" > 0),
	CONSTRAINT "failed_events_attempt_count_natural" CHECK ("failed_events"."attempt_count" >= 0),
	CONSTRAINT "failed_events_generation_natural" CHECK ("failed_events"."generation" >= 0),
	CONSTRAINT "failed_events_quarantine_has_reason" CHECK (("failed_events"."quarantined_at" is null) = ("failed_events"."quarantine_reason" is null))
);
--> statement-breakpoint
CREATE TABLE "failed_events_audit" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "failed_events_audit_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"failed_event_id" uuid NOT NULL,
	"action" text NOT NULL,
	"actor" text NOT NULL,
	"event_count" integer NOT NULL,
	"detail" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"at" timestamp (3) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "projects" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"name" text NOT NULL,
	"retention_days" integer,
	"allowed_origins" text[] DEFAULT '{}' NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"deleted_at" timestamp (3) with time zone,
	CONSTRAINT "projects_retention_days_positive" CHECK ("projects"."retention_days" > 0)
);
--> statement-breakpoint
CREATE TABLE "settings" (
	"key" text PRIMARY KEY NOT NULL,
	"value" jsonb NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
ALTER TABLE "api_tokens" ADD CONSTRAINT "api_tokens_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "projects"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "api_tokens_project_id" ON "api_tokens" USING btree ("project_id");--> statement-breakpoint
CREATE INDEX "failed_events_claim" ON "failed_events" USING btree ("ambiguous" DESC NULLS FIRST,"visible_at") WHERE "failed_events"."quarantined_at" is null;--> statement-breakpoint
CREATE INDEX "failed_events_quarantined" ON "failed_events" USING btree ("quarantined_at") WHERE "failed_events"."quarantined_at" is not null;--> statement-breakpoint
CREATE INDEX "failed_events_fingerprint" ON "failed_events" USING btree ("error_fingerprint","created_at");--> statement-breakpoint
CREATE INDEX "failed_events_audit_failed_event_id" ON "failed_events_audit" USING btree ("failed_event_id");--> statement-breakpoint
CREATE INDEX "failed_events_audit_at" ON "failed_events_audit" USING btree ("at");--> statement-breakpoint
ALTER TABLE "failed_events" ALTER COLUMN "payload" SET STORAGE EXTERNAL;
