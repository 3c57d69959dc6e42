package dev.weir.bench;

import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.streaming.api.functions.windowing.ProcessWindowFunction;
import org.apache.flink.streaming.api.windowing.windows.TimeWindow;
import org.apache.flink.util.Collector;

/** What Flink's own windows are given: every event goes into every window that it is in. */
final class Windows {
  private Windows() {}

  public static class Adding implements AggregateFunction<Click, Sums, Sums> {
    @Override
    public Sums createAccumulator() {
      return new Sums();
    }

    @Override
    public Sums add(Click click, Sums sums) {
      sums.add(click);
      return sums;
    }

    @Override
    public Sums getResult(Sums sums) {
      return sums;
    }

    @Override
    public Sums merge(Sums one, Sums other) {
      one.add(other);
      return one;
    }
  }

  public static class Rows extends ProcessWindowFunction<Sums, String, String, TimeWindow> {
    @Override
    public void process(String page, Context context, Iterable<Sums> sums, Collector<String> out) {
      out.collect(sums.iterator().next().row(page, context.window().getEnd()));
    }
  }
}
