import csv

from genesys_engine.plugins.testing import TrackerContract


class TestCsv(TrackerContract):
    name = "csv"

    def test_every_score_is_a_line_once(self, run_folder, tmp_path):
        events = self.log(run_folder)
        for start in (0, 5):  # a resumed run sees some events again
            tracker = self.tracker(tmp_path, resumed=start > 0)
            for event in events[start:]:
                tracker.on_event(event)
            tracker.close()
        with (tmp_path / "scores.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        finished = [e for e in events if e["kind"] == "verification.finished"]
        assert [int(row["event"]) for row in rows] == [e["id"] for e in finished]
        for row, event in zip(rows, finished, strict=True):
            assert float(row["value"]) == event["payload"]["scores"]["bits_per_byte"]
            assert float(row["fitness"]) == event["payload"]["fitness"]

    def test_a_failure_is_a_line_without_numbers(self, tmp_path):
        about = {"design": 3, "rung": 0, "replicate": 0, "cause": "timeout", "reason": "slow"}
        tracker = self.tracker(tmp_path)
        kind = "verification.failed"
        tracker.on_event({"id": 7, "kind": kind, "payload": about, "at": 1.5})
        tracker.close()
        last = (tmp_path / "scores.csv").read_text(encoding="utf-8").splitlines()[-1]
        assert last == "7,1.500,3,0,0,timeout,,,"
