package dev.weir.bench;

import java.util.HashSet;
import java.util.Set;

/** Views, clicks and exact unique users of one page, in a pane or in a window. */
public class Sums {
  public long views;
  public long clicks;
  public Set<String> users = new HashSet<>();

  void add(Click click) {
    if (click.kind == 0) views++;
    if (click.kind == 1) clicks++;
    users.add(click.user);
  }

  void add(Sums other) {
    views += other.views;
    clicks += other.clicks;
    users.addAll(other.users);
  }

  /** The result as the topic gets it. Page URLs of the simulated shop need no escaping. */
  String row(String page, long windowEnd) {
    return "{\"page_url\":\"" + page + "\",\"window_end\":" + windowEnd + ",\"view_count\":" + views
        + ",\"click_count\":" + clicks + ",\"unique_users\":" + users.size() + "}";
  }
}
