// Command kstatus reads objects as a JSON array from standard input, and prints for each on a line what kstatus, by
// which Flux and Helm 4 judge objects, makes of it: Current, InProgress, Failed or Terminating, and its message.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

func main() {
	var objects []json.RawMessage
	if err := json.NewDecoder(os.Stdin).Decode(&objects); err != nil {
		fail(err)
	}
	for _, text := range objects {
		var object unstructured.Unstructured // its decoder keeps whole numbers whole, as kstatus expects
		if err := object.UnmarshalJSON(text); err != nil {
			fail(err)
		}
		found, err := status.Compute(&object)
		if err != nil {
			fail(err)
		}
		fmt.Printf("%s %s\n", found.Status, found.Message)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
