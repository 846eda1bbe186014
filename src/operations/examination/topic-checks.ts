/** What `weir doctor` says of the topic. */
import { MAX_ROW_BYTES } from '../../event/row.ts';
import type { KafkaSettings } from '../../config/kafka-settings.ts';
import { explainKafka } from '../../kafka/errors.ts';
import { topicFindings } from '../../kafka/topic-findings.ts';
import { describeTopic } from '../../kafka/topic.ts';
import { fail, type Check } from './checks.ts';

export async function examineTopic(settings: KafkaSettings): Promise<Check[]> {
  try {
    const found = topicFindings(settings, await describeTopic(settings), { largestEventBytes: MAX_ROW_BYTES });
    return found.map(({ subject, ...finding }) => ({ name: `Kafka ${subject}`, ...finding }));
  } catch (error) {
    const remedy = 'Until it answers, accepted events wait in the journal; without one, new events are refused.';
    return [fail('Kafka', explainKafka(error), remedy)];
  }
}
