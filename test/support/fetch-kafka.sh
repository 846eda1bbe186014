#!/usr/bin/env bash
# Fetches the jars of Apache Kafka (about 43 MB) from Maven Central, for the tests that need a real broker: once, into
# ~/.cache/weir (or XDG_CACHE_HOME/weir). Needs Java 17 and Maven. test/support/kafka.ts looks for them there.
set -euo pipefail
version=4.1.1
to="${XDG_CACHE_HOME:-$HOME/.cache}/weir/kafka-$version"
[ -f "$to/complete" ] && exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>weir</groupId>
  <artifactId>broker-for-tests</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>$version</version>
      <scope>runtime</scope>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-simple</artifactId>
      <version>1.7.36</version>
      <scope>runtime</scope>
    </dependency>
  </dependencies>
</project>
POM
mvn -q -B -f "$work/pom.xml" -Dmaven.repo.local="$work/repository" \
  org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$work/jars"
mkdir -p "$(dirname "$to")"
rm -rf "$to"
# Whole or not at all, whoever else fetches at the same time.
touch "$work/jars/complete"
mv -T "$work/jars" "$to" 2>/dev/null || cp -r "$work/jars" "$to"
