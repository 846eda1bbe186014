ALTER TABLE "projects" ADD COLUMN "retention_seconds" bigint;--> statement-breakpoint
UPDATE "projects" SET "retention_seconds" = "retention_days"::bigint * 86400;--> statement-breakpoint
ALTER TABLE "projects" DROP CONSTRAINT "projects_retention_days_positive";--> statement-breakpoint
ALTER TABLE "projects" DROP COLUMN "retention_days";--> statement-breakpoint
ALTER TABLE "projects" ADD COLUMN "retention_days" integer GENERATED ALWAYS AS (((retention_seconds + 86399) / 86400)::integer) STORED;--> statement-breakpoint
ALTER TABLE "projects" ADD CONSTRAINT "projects_retention_seconds_positive" CHECK ("projects"."retention_seconds" > 0);
