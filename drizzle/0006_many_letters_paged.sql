CREATE INDEX "failed_events_age" ON "failed_events" USING btree ("created_at","id");--> statement-breakpoint
CREATE INDEX "failed_events_quarantined_age" ON "failed_events" USING btree ("created_at","id") WHERE "failed_events"."quarantined_at" is not null;--> statement-breakpoint
CREATE INDEX "failed_events_projects" ON "failed_events" USING gin ("project_ids") WITH (fastupdate=false);