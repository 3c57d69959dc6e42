package dev.weir.bench;

import java.nio.charset.StandardCharsets;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.util.Collector;
import org.apache.kafka.clients.consumer.ConsumerRecord;

/** What the job needs of an event. */
public class Click {
  public String user;
  public int kind; // 0 a view, 1 a click
  public String page;
  public long time;

  /** Reads these four fields by hand and skips the others: what an Avro library does costs several times as much. */
  public static final class Reader implements KafkaRecordDeserializationSchema<Click> {
    private static final int HEADER = 10; // Avro single-object encoding: marker and fingerprint
    private byte[] bytes;
    private int at;

    @Override
    public void deserialize(ConsumerRecord<byte[], byte[]> record, Collector<Click> out) {
      Clock.start();
      bytes = record.value();
      at = HEADER;
      Click click = new Click();
      click.user = text();
      skip(); // session
      click.kind = (int) number();
      click.page = text();
      if (number() != 0) skip(); // product
      click.time = number();
      out.collect(click);
    }

    private long number() {
      long zigzag = 0;
      for (int shift = 0; ; shift += 7) {
        byte next = bytes[at++];
        zigzag |= (next & 0x7fL) << shift;
        if (next >= 0) return (zigzag >>> 1) ^ -(zigzag & 1);
      }
    }

    private void skip() {
      int length = (int) number();
      at += length;
    }

    private String text() {
      int length = (int) number();
      at += length;
      return new String(bytes, at - length, length, StandardCharsets.UTF_8);
    }

    @Override
    public TypeInformation<Click> getProducedType() {
      return TypeInformation.of(Click.class);
    }
  }
}
