package dev.weir.bench;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.serialization.SimpleStringSchema;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.datastream.KeyedStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.windowing.assigners.SlidingEventTimeWindows;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;

/**
 * Views, clicks and unique users of each page in windows of 5 min every 10 s, exactly once, from the beginning of a topic to
 * its end. Arguments: bootstrap servers, events topic, results topic (is made), a folder for checkpoints, slices or windows.
 */
public final class Job {
  private static final Duration SIZE = Duration.ofMinutes(5);
  private static final Duration SLIDE = Duration.ofSeconds(10);
  private static final Duration OUT_OF_ORDERNESS = Duration.ofSeconds(30);

  private Job() {}

  public static void main(String[] arguments) throws Exception {
    String bootstrap = arguments[0], events = arguments[1], results = arguments[2], checkpoints = arguments[3];
    boolean byHand = arguments[4].equals("slices");
    try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
      admin.createTopics(List.of(new NewTopic(results, 3, (short) 1))).all().get();
    }
    StreamExecutionEnvironment environment =
        StreamExecutionEnvironment.createLocalEnvironment(Runtime.getRuntime().availableProcessors(), settings(checkpoints));
    KafkaSource<Click> source = KafkaSource.<Click>builder()
        .setBootstrapServers(bootstrap)
        .setTopics(events)
        .setGroupId("flink-" + results)
        .setStartingOffsets(OffsetsInitializer.earliest())
        .setBounded(OffsetsInitializer.latest())
        .setDeserializer(new Click.Reader())
        .setProperty("max.poll.records", "5000") // measured: 500, the default, is slower
        .build();
    WatermarkStrategy<Click> watermarks = WatermarkStrategy
        .<Click>forBoundedOutOfOrderness(OUT_OF_ORDERNESS)
        .withTimestampAssigner((click, recordTime) -> click.time);
    KeyedStream<Click, String> byPage =
        environment.fromSource(source, watermarks, "events").keyBy(click -> click.page, Types.STRING);
    DataStream<String> rows = byHand
        ? byPage.process(new Slices(SIZE.toMillis(), SLIDE.toMillis()))
        : byPage.window(SlidingEventTimeWindows.of(SIZE, SLIDE)).aggregate(new Windows.Adding(), new Windows.Rows());
    Properties producer = new Properties();
    producer.put("compression.type", "gzip"); // as weir's results
    producer.put("transaction.timeout.ms", "600000"); // the broker allows less than Flink's default
    rows.sinkTo(KafkaSink.<String>builder()
        .setBootstrapServers(bootstrap)
        .setKafkaProducerConfig(producer)
        .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
        .setTransactionalIdPrefix(results)
        .setRecordSerializer(KafkaRecordSerializationSchema.builder()
            .setTopic(results)
            .setValueSerializationSchema(new SimpleStringSchema())
            .build())
        .build());
    environment.execute(results);
    System.out.println(Clock.report());
  }

  private static Configuration settings(String checkpoints) {
    Configuration settings = new Configuration();
    settings.setString("execution.checkpointing.interval", "1 s");
    settings.setString("execution.checkpointing.storage", "filesystem");
    settings.setString("execution.checkpointing.dir", "file://" + checkpoints);
    // State on the heap is the fastest that Flink has; objects need not be copied between chained operators.
    settings.setString("state.backend.type", "hashmap");
    settings.setString("pipeline.object-reuse", "true");
    settings.setString("pipeline.generic-types", "false");
    settings.setString("restart-strategy.type", "none");
    return settings;
  }
}
