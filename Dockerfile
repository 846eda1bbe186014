# The first stage builds the service and the console's page, the second installs the
# dependencies, since a few are not built in, and the last holds both.
# The digest is that of the version it names; docs/OPERATIONS.md, "Images".
ARG NODE_IMAGE=node:24.18.0-bookworm-slim@sha256:6f7b03f7c2c8e2e784dcf9295400527b9b1270fd37b7e9a7285cf83b6951452d
FROM ${NODE_IMAGE} AS built
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY build.ts tsconfig.json ./
COPY src ./src
RUN node build.ts

FROM ${NODE_IMAGE} AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund

FROM ${NODE_IMAGE}
# In a container the port is reached from outside of it alone when it is published.
# What malloc is asked for in pieces of a megabyte and more goes back when it is freed; docs/OPERATIONS.md, "Memory".
ENV NODE_ENV=production \
    HOST=0.0.0.0 \
    MALLOC_MMAP_THRESHOLD_=1048576 \
    WEIR_DATA_DIR=/var/lib/weir
WORKDIR /app
COPY --from=dependencies /app/node_modules ./node_modules
COPY package.json ./
COPY drizzle ./drizzle
COPY clickhouse-migrations ./clickhouse-migrations
# The questions that the console offers.
COPY docs/QUERIES.md ./docs/QUERIES.md
COPY --from=built /app/dist ./dist
RUN ln -s /app/dist/weir/main.js /usr/local/bin/weir \
 && chmod 755 /app/dist/weir/main.js \
 && install -d -o node -g node -m 700 /var/lib/weir
VOLUME /var/lib/weir
USER node
EXPOSE 8080

# /livez answers as long as the event loop turns. Readiness (/readyz) is for the load balancer.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT || 8080}/livez`, { signal: AbortSignal.timeout(4000) }).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]

# Node itself is process 1, without a shell or npm in between that would keep SIGTERM from it.
# `docker run --init` covers the moment before Node listens; docs/OPERATIONS.md, "Stopping".
# Give it longer to stop than INGEST_SHUTDOWN_GRACE (10 s): docker stop -t 20, terminationGracePeriodSeconds: 20.
# The flags say how much may wait to be collected; docs/OPERATIONS.md, "Memory".
ENTRYPOINT ["node", "--max-semi-space-size=16", "--heap-growing-percent=100", "/app/dist/weir/main.js"]
CMD ["serve"]
STOPSIGNAL SIGTERM
