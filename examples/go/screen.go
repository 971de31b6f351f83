// Screens one exchange: go run screen.go HOST:PORT PROMPT COMPLETION. Whatever is not RELEASE for this very text is withheld.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"time"

	pb "example.com/screen/interlockv1"
	"google.golang.org/grpc"
)

const roundRobin = `{"loadBalancingConfig": [{"round_robin": {}}]}`

func released(connection *grpc.ClientConn, prompt, completion []byte) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	request := &pb.ScreenRequest{Exchange: &pb.Exchange{Prompt: prompt, Completion: completion}}
	response, err := pb.NewSafetyFilterServiceClient(connection).Screen(ctx, request)
	digest := sha256.Sum256(completion)
	verdict := response.GetVerdict() // nil after an error, and a nil verdict is DECISION_UNSPECIFIED
	return err == nil && verdict.GetDecision() == pb.Decision_DECISION_RELEASE && bytes.Equal(digest[:], verdict.GetCompletionSha256())
}

func main() {
	connection, err := grpc.Dial("dns:///"+os.Args[1], grpc.WithInsecure(), grpc.WithDefaultServiceConfig(roundRobin))
	if err == nil && released(connection, []byte(os.Args[2]), []byte(os.Args[3])) {
		fmt.Println(os.Args[3])
		return
	}
	fmt.Println("I can't help with that.")
	os.Exit(3)
}
