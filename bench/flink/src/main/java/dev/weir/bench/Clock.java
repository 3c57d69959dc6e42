package dev.weir.bench;

import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;

/** Time and CPU time since the first event: a JVM's start is no cost of an event. */
final class Clock {
  private static volatile boolean started;
  private static long nanos;
  private static long cpu;

  private Clock() {}

  static void start() {
    if (!started) first();
  }

  private static synchronized void first() {
    if (started) return;
    nanos = System.nanoTime();
    cpu = cpuTime();
    started = true;
  }

  static String report() {
    return String.format("{\"wall_s\": %.3f, \"cpu_s\": %.3f}", (System.nanoTime() - nanos) / 1e9, (cpuTime() - cpu) / 1e9);
  }

  private static long cpuTime() {
    return ((OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime();
  }
}
