CREATE TABLE "rejected_events" (
	"id" uuid PRIMARY KEY NOT NULL,
	"project_id" uuid NOT NULL,
	"door" text NOT NULL,
	"path" text NOT NULL,
	"kind" text NOT NULL,
	"reason" text NOT NULL,
	"bytes" "bytea" NOT NULL,
	"size" integer NOT NULL,
	"position" integer NOT NULL,
	"facts" jsonb NOT NULL,
	"received_at" timestamp (3) with time zone NOT NULL,
	"kept_at" timestamp (3) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE INDEX "rejected_events_of_project" ON "rejected_events" USING btree ("project_id","id","size");--> statement-breakpoint
CREATE INDEX "rejected_events_kept_at" ON "rejected_events" USING btree ("kept_at");