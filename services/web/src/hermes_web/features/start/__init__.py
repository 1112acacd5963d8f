"""The first steps: from an empty router to the first series that has arrived."""
