package dev.weir.bench;

import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.MapState;
import org.apache.flink.api.common.state.MapStateDescriptor;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;

/** Sliding windows as an expert writes them: an event goes into one pane, and a window adds its panes up when it closes. */
public class Slices extends KeyedProcessFunction<String, Click, String> {
  private final long size;
  private final long slide;
  private transient MapState<Long, Sums> panes;

  Slices(long size, long slide) {
    this.size = size;
    this.slide = slide;
  }

  @Override
  public void open(OpenContext context) {
    panes = getRuntimeContext().getMapState(new MapStateDescriptor<>("panes", Types.LONG, TypeInformation.of(Sums.class)));
  }

  @Override
  public void processElement(Click click, Context context, Collector<String> out) throws Exception {
    long start = click.time - Math.floorMod(click.time, slide);
    Sums pane = panes.get(start);
    if (pane == null) {
      pane = new Sums();
      context.timerService().registerEventTimeTimer(start + slide - 1);
    }
    pane.add(click);
    panes.put(start, pane);
  }

  @Override
  public void onTimer(long time, OnTimerContext context, Collector<String> out) throws Exception {
    long end = time + 1;
    Sums window = new Sums();
    for (long start = end - size; start < end; start += slide) {
      Sums pane = panes.get(start);
      if (pane != null) window.add(pane);
    }
    panes.remove(end - size);
    if (!window.users.isEmpty()) {
      out.collect(window.row(context.getCurrentKey(), end));
      context.timerService().registerEventTimeTimer(time + slide);
    }
  }
}
