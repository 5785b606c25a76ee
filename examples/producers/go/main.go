// Sends one report about a pool to Tieline. Settings: TIELINE_KAFKA, TIELINE_NAMESPACE, SOURCE.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"log"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func main() {
	source, incarnation, now := setting("SOURCE", "prober"), rand.Text(), time.Now()
	body, _ := json.Marshal(map[string]any{
		"type": "report.v1", "source": source, "provider": "azure", "region": "swedencentral",
		"incarnation": incarnation, "sequence": 1, "interval_ms": 10_000,
		"window_start_ms": now.UnixMilli() - 10_000, "window_end_ms": now.UnixMilli(),
		"pools": []any{map[string]any{"pool": "azure/swedencentral/gpt-4o",
			"outcomes": map[string]int{"ok": 19, "server_error": 1}, "first_token_p50_ms": 210.0}},
	})
	topic := setting("TIELINE_NAMESPACE", "tieline") + ".reports"
	record := &kgo.Record{Topic: topic, Key: []byte("azure/swedencentral"), Value: body}
	for name, text := range map[string]string{
		"ce_specversion": "1.0", "ce_type": "tieline.report.v1", "ce_source": "/examples/" + source,
		"ce_id": incarnation + "-1", "ce_time": now.UTC().Format(time.RFC3339Nano), "content-type": "application/json",
	} {
		record.Headers = append(record.Headers, kgo.RecordHeader{Key: name, Value: []byte(text)})
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(setting("TIELINE_KAFKA", "localhost:9092"), ",")...))
	if err == nil {
		err = client.ProduceSync(context.Background(), record).FirstErr()
	}
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("%s partition %d offset %d", record.Topic, record.Partition, record.Offset)
}
