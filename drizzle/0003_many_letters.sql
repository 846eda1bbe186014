CREATE TABLE "failed_events_audit_letters" (
	"audit_id" bigint PRIMARY KEY NOT NULL,
	"letter_ids" uuid[] NOT NULL
);
--> statement-breakpoint
CREATE INDEX "failed_events_audit_letters_ids" ON "failed_events_audit_letters" USING gin ("letter_ids") WITH (fastupdate=false);--> statement-breakpoint
CREATE INDEX "failed_events_parent" ON "failed_events" USING btree ("parent_id") WHERE "failed_events"."parent_id" is not null;